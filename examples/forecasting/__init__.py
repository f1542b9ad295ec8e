"""Forecasts with intervals, one step to a whole day ahead."""
