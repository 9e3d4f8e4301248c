"""Images: loading, blurring, encoding, and storing what the encoders give."""
