"""One check of a deployment, by its name."""

from serving.deploy.checks import MODULES, checks
from serving.deploy.deployment import Deployment


def make(about: str, deployment: Deployment) -> str:
    """Make the check of that name: what it found to be right. InputError where something is wrong."""
    found = {name: function for module in MODULES for name, function in checks(module)}
    return found[about](deployment)
