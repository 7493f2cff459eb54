"""What texts mean: dense vectors by a sentence encoder that the user gives."""
