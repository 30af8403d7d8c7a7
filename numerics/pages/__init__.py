"""Pictures of training and of programs, and folders of HTML pages."""
