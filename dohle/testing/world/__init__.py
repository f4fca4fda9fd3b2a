"""The simulated world: time, processes, machines, disks and the network between them."""
