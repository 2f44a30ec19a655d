"""Who may talk to whom: keys, the allow-list, roles, invitations, and what logs may say."""
