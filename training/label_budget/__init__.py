"""How many labels another survey needs: trials of transfer, and their summary."""
