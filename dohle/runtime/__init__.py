"""The world outside, behind Protocols of few methods: everything nondeterministic enters here and nowhere else."""
