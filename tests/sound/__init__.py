"""Parts in which nothing is wrong, and in which checks of the contract found faults once."""
