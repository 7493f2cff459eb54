"""Free cells: graphs of up to six blocks that the search puts together itself."""
