# SPDX-License-Identifier: MIT
"""What the scenarios share: fleets of real processes, senders, schemas, readers."""
