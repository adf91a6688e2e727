"""PDFs in the box for questions: images of their pages take their place."""
