"""How well a base checkpoint learns: tasks, fine-tuning, generation, answers and scores."""
