UPDATE floor.row SET value = value + 1;
