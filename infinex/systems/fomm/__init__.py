"""First Order Motion Model for Image Animation: motion from a driving video by unsupervised keypoints."""
