"""The rules of the product as pure functions: values in, values out, time and chance handed in."""
