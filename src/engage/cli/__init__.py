"""The command line; a file a command. Data go to standard output, messages and progress to standard error."""
