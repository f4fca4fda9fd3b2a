"""What clients did and saw, real ones or simulated, and the anomalies that no log may show. Knows no simulator."""
