"""Order books (OB): from a venue's messages to books, from books to features, from features to what the engine asks."""
