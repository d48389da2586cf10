"""What a person or a schedule starts: plain functions and the command line."""
