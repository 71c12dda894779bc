"""The course's hub, but for the passwords: one that the test knows, rather than those of the machine's accounts."""

import os

c = get_config()  # noqa: F821 -- JupyterHub provides it
load_subconfig("/etc/jupyterhub/jupyterhub_config.py")  # noqa: F821 -- traitlets provides it
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = os.environ["HUB_PASSWORD"]
c.Authenticator.allowed_users = {"prof", "alice", "bob"}
