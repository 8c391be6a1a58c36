"""engage: an event-sourced platform for keeping relationships with customers and partners."""
