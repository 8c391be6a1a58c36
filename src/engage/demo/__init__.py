"""The demo company: a music shop with real customers and purchases (CDNOW), and a seeded simulation around them."""
