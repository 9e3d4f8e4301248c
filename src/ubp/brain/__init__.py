"""Brain encoders: signals of shape (batch, channels, times) to vectors of shape (batch, embed_dim)."""
