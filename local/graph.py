"""The social graph of the demo: friendships of Facebook users where the file is there, else made-up ones."""

from pathlib import Path
from random import Random

from local.environment import ROOT
from local.managed_process import display_path, echo

# https://snap.stanford.edu/data/ego-Facebook.html: 4,039 people, 88,234 friendships.
FACEBOOK = ROOT.parent / "shared" / "data" / "ego-facebook.txt.gz"
PEOPLE, FRIENDS = 1000, 10


def file(data: Path) -> Path:
    """A file that `import-graph` reads."""
    if FACEBOOK.exists():
        echo(f"Importing {display_path(FACEBOOK)}: 88,234 friendships of 4,039 Facebook users, without their names.")
        return FACEBOOK
    path = data / "graph.txt"
    path.write_text("".join(f"{one} {other}\n" for one, other in scale_free(PEOPLE, FRIENDS, Random(0))))
    echo(f"Importing a made-up network of {PEOPLE:,} people, where a few are known to many: {display_path(path)}")
    return path


def scale_free(people: int, friends: int, random: Random) -> list[tuple[int, int]]:
    """A Barabási-Albert graph: each newcomer befriends `friends` people, the popular ones more likely."""
    edges = [(one, friends) for one in range(friends)]
    ends = [person for edge in edges for person in edge]  # each person as often as they have friends
    for newcomer in range(friends + 1, people):
        chosen: set[int] = set()
        while len(chosen) < friends:
            chosen.add(random.choice(ends))
        for other in sorted(chosen):
            edges.append((other, newcomer))
            ends += (other, newcomer)
    return edges
