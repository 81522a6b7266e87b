"""What labels of another survey buy."""
