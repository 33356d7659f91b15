"""Make tables of vectors: convert them from other formats, learn them, distil them."""
