"""One module for each system, with the class `System`: to be imported in that system's own environment only."""
