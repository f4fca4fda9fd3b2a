"""What is used to work on Dohle, and is no part of it."""
