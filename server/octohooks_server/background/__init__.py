"""Work that goes on beside calls and deliveries, in small steps that hold nothing up."""
