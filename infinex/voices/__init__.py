"""Text to sound, offline: scripts with stage directions, the voices that read them, and when each line is said."""
