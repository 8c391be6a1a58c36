"""Moving house: a whole engage written into a folder while it runs, and brought back, also into the other backend."""
