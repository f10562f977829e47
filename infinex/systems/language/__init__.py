"""Language-guided face animation by a recurrent motion generator (Hang et al.), in W+ and in Action Units."""
