"""What happened: envelope, catalogue of event types, upcasting, codec and the sealing of personal fields."""
