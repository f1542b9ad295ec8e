"""What the examples share: data, settings, results, tables. One subject a file."""
