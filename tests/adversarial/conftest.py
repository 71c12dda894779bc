import sys
from pathlib import Path

# Adversaries are declared with what is in arena/.
sys.path.insert(0, str(Path(__file__).parent))

collect_ignore = ["arena", "attacks"]
