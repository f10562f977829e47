"""Pictures, video and sound: streamed in, streamed out, written whole or not at all."""
