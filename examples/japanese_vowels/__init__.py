"""Who says the vowels: classification of short multivariate series."""
