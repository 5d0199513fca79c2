"""What a training will do, need and take, before it starts: steps, memory part by part, time."""
