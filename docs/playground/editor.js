// CodeMirror for the two languages of the page: numbers of lines, colours, and a mark at the line and column of an error.
// It stands in a shadow tree, where its styles are sheets of the page's own making and not elements, which the policy forbids.
import {defaultKeymap, history, historyKeymap} from "./codemirror-commands.js";
import {HighlightStyle, StreamLanguage, bracketMatching, syntaxHighlighting} from "./codemirror-language.js";
import {lintGutter, lintKeymap, setDiagnostics} from "./codemirror-lint.js";
import {EditorState} from "./codemirror-state.js";
import {EditorView, keymap, lineNumbers} from "./codemirror-view.js";
import {tags} from "./lezer-highlight.js";

const WORDS = {
  keyword: /^(?:float|int|bool|index|size|parameter|state|constant|random|positive|nonnegative|symmetric|scalar|vector|matrix)\b/,
  function: /^[A-Za-z_]\w*(?=\s*[([])/,
  name: /^[^\W\d]\w*'*/u,
};

// enough of both grammars for colours; what a text means is the library's to say
const language = StreamLanguage.define({
  token(stream) {
    if (stream.eatSpace()) return null;
    if (stream.match(/^#.*/)) return "comment";
    if (stream.match(/^(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?/i)) return "number";
    if (stream.match(WORDS.keyword)) return "keyword";
    const called = stream.match(WORDS.function);
    if (called) return stream.peek() === "(" || /^(?:sum|max|min|mean|prod|argmax)$/.test(called[0]) ? "name.function" : "name";
    if (stream.match(WORDS.name)) return "name";
    stream.next();
    return null;
  },
  tokenTable: {"name.function": tags.function(tags.variableName), name: tags.variableName},
  languageData: {commentTokens: {line: "#"}},
});

const colours = HighlightStyle.define([
  {tag: tags.comment, color: "var(--soft)", fontStyle: "italic"},
  {tag: tags.keyword, color: "var(--accent)"},
  {tag: tags.number, color: "var(--one)"},
  {tag: tags.function(tags.variableName), color: "var(--good)"},
]);

const look = EditorView.theme({
  "&": {backgroundColor: "var(--wash)", color: "var(--ink)", maxHeight: "34rem", minHeight: "9rem"},
  "&.cm-focused": {outline: "none"},
  ".cm-scroller": {fontFamily: "ui-monospace, 'DejaVu Sans Mono', Menlo, monospace", fontSize: ".84rem", lineHeight: "1.5"},
  ".cm-content": {caretColor: "var(--ink)", padding: ".5rem 0"},
  ".cm-gutters": {backgroundColor: "var(--wash)", color: "var(--soft)", border: "0"},
  ".cm-lintRange-error": {backgroundImage: "none", textDecoration: "underline wavy var(--bad) 2px", backgroundColor: "color-mix(in srgb, var(--bad) 25%, transparent)"},
  ".cm-lintPoint-error::after": {borderBottomColor: "var(--bad)"},
  ".cm-tooltip": {backgroundColor: "var(--paper)", color: "var(--ink)", border: "1px solid var(--line)", maxWidth: "34rem"},
  ".cm-diagnostic": {whiteSpace: "pre-wrap", borderLeftColor: "var(--bad)", fontFamily: "inherit"},
  "&.cm-focused .cm-matchingBracket": {backgroundColor: "var(--mark)"},
  "&.cm-focused .cm-nonmatchingBracket": {backgroundColor: "transparent"},
});

// Text typed over a selection: the browser, left to itself, would write styles into the tree, which the policy forbids.
const replaced = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const {state} = view;
    if (event.inputType !== "insertText" || event.data === null || event.isComposing || state.selection.main.empty) return false;
    event.preventDefault();
    view.dispatch(state.replaceSelection(event.data), {userEvent: "input.type", scrollIntoView: true});
    return true;
  },
});

export class Editor {
  constructor(place, label, changed) {
    const root = place.attachShadow({mode: "open"});
    const told = EditorView.updateListener.of((update) => update.docChanged && !this.quiet && changed());
    this.extensions = [
      lineNumbers(), lintGutter(), history(), bracketMatching(), language, syntaxHighlighting(colours), look, told, replaced,
      EditorView.lineWrapping,
      keymap.of([...defaultKeymap, ...historyKeymap, ...lintKeymap]), // no Tab: it leaves the editor, as keys alone need
      EditorView.contentAttributes.of({"aria-label": label, autocapitalize: "off", spellcheck: "false"}),
    ];
    this.view = new EditorView({parent: root, root, extensions: this.extensions});
  }

  get text() {
    return this.view.state.doc.toString();
  }

  // A text from elsewhere, as an example: nobody is told, and what was before is no longer to be undone.
  set text(value) {
    this.quiet = true;
    this.view.setState(EditorState.create({doc: value, extensions: this.extensions}));
    this.quiet = false;
  }

  // An error at a line and a column counted from 1, to the end of the word there; without a place nothing is marked.
  mark(line, column, message = "") {
    const {state} = this.view, {doc} = state, marks = [];
    if (line >= 1 && line <= doc.lines) {
      const here = doc.line(line), from = Math.min(here.from + Math.max(0, (column ?? 1) - 1), here.to);
      const word = /^[\p{L}\p{N}_]+/u.exec(doc.sliceString(from, here.to))?.[0].length ?? 1;
      marks.push({from, to: Math.min(from + word, here.to), severity: "error", message});
    }
    this.view.dispatch(setDiagnostics(state, marks));
    this.view.contentDOM.setAttribute("aria-invalid", String(marks.length > 0));
  }
}
