"""Search by reinforcement learning: a controller network that proposes and is rewarded."""
