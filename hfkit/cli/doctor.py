"""`hfkit doctor`: parses, calls the verb, shows what it yields."""

from hfkit.cli.options import Debug, Json, Offline, Quiet, Set, refuse_settings
from hfkit.cli.perform import Events, perform


def doctor(
    *,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Say what is wrong with this machine, and what to type.

    Example: hfkit doctor
    """
    refuse_settings(settings, "doctor")

    def verb() -> Events:
        from hfkit.verbs.doctor import doctor

        return doctor(offline=offline)

    perform("doctor", verb, json=json, quiet=quiet, offline=offline)
