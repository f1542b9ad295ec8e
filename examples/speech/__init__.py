"""Speech to text: connectionist temporal classification of real recordings."""
