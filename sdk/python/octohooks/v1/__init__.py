"""The messages and services of the Octohooks API, generated from the protos."""
