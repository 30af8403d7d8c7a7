// Formulas to begin with: the text, and what it is differentiated by.
export const FORMULAS = {
  "ridge regression": ["norm2(X*w - y)^2 + lam*norm2(w)^2", "w"],
  "quadratic form": ["x'*A*x", "x"],
  "logistic regression": ["sum(log(vector(1) + exp(-y .* (X*w))))", "w"],
  "inverse": ["a'*inv(X)*b", "X"],
  "log-determinant": ["S: n x n symmetric; logdet(S) + tr(inv(S)*C)", "S"],
  "factorisation": ["norm2(A - U*V)^2", "U, V"],
};
