"""What must hold before a lane may trade with real money. Nothing here sends an order, or knows how."""
