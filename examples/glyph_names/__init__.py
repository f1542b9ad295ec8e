"""From the picture of a character to its Unicode name: one vector to many words."""
