"""What the product does for somebody: animate a picture or a film, follow a camera, capture a performance."""
