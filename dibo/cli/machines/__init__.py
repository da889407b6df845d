"""Commands that start virtual machines, and reach into them."""
