"""Rehearse a Vault upgrade on real servers: what changes for those who log in, and why.

The rooms, in the order in which data flows. Two halves that meet only in the journal: the hands touch the world and
never judge; the judges read the record and never touch the world.

doors
    cli             the command line: rehearsing and judging, exit codes; chores has the commands around it
    settings        where things are kept, and what the user's environment says
    doctor          what this machine has and lacks; cleaning, what a crash left on it, by the entries of the registry
    several         scenarios rehearsed side by side, each by a process of its own, and reported as one
    reporting       in which forms a judgement is reported, and where
    output          what is printed, and how the program ends: a reader who is gone changes nothing
    progress        events become lines for people who wait
    reports/        a judgement as text, JSON, JUnit XML, Markdown or GitHub annotations, in one wording; a plan as text
conductor
    session         one rehearsal from a scenario to its judgement, for the command line and whatever runs many
    rehearsal       the order in which a rehearsal happens
hands
    upgrade         how a live Vault is set up, opened and taken to its next version
    beside          the steps that put no other Vault in place: rights, Secrets, snapshots
    probes/         the questions asked at every moment
    renewing        apps that run on renew their tokens while Vault is replaced
    driver          what every way of making plans real can do; drivers/ has them: local, kind, paper
    live            what every rig with real servers has in common
    collecting      brings what the servers wrote into the journal
    controlplane    the life of an etcd and a kube-apiserver as processes; vault_server, that of a Vault
    vault_settings  the configuration of a Vault, wherever it runs
    kind_cluster    the life of a kind cluster; vault_pod and vault_container, that of a Vault in it or beside it
    lending         clusters that were kept are lent to further rehearsals
    rising          what comes up side by side, and the tokens that it gives out
    accounts        who must exist in which cluster
    vault, kube     everything said to Vault (hvac) and to Kubernetes (kubernetes)
    engine          everything said to the container engine (docker); fitness, whether it will do
    images          a version becomes a container image; node_image makes the nodes', on a debian_node
    artifacts       a version becomes a verified binary; recipes, downloads and building beside it
    capacity        how many clusters this machine can carry
    locking         one at a time, and words for those who wait
    signatures      who signed a file, by the keys of vendors that come with this program
    materials       the files under clusters/, wherever this is installed
    pki             key material for test systems
    process         the harness's side of child processes; supervisor is the other side, which outlives a killed harness
    launching       a fork becomes a server; in_memory, a work directory that goes with the last process
    traces          what a run leaves, and how that proves whose it is; sweeping ends it once its supervisor is dead
    entries         what the registry says of a run; kept, how one is ended that was kept
    reaper          removes what a run has on the container engine, for the supervisor
    ports           a free port that stays ours
    tailing         what was appended to a log
judges
    verdict         what the changes mean against what was expected
    going_back      what a way back does: who logs in, what is lost
    doubts          why the answer is not known
    expiring        stored reviewers that will end after the run
    breaking        what it means that a Vault would not serve after its swap
    completeness    does a record hold all that its plan requires?
    soundness       does it say what no run can say?
    diagnosis       known causes, asked over the record; rules/ has them
    reviewing       who reviewed which login, and how each config came to be
    outlook         when a refused login begins to hurt
    leads           the usual suspects, ruled out or still open
    facts           what a record says, put so that a rule can ask for it
    evidence        joins what the servers wrote to the question it belongs to
    comparison      how before differs from after
the book
    events          what can happen in a run
    journal         the append-only record of it
    numbering       how a record proves that it is whole
vocabulary
    loading         a file becomes a Scenario, or a list of problems with their lines
    possible        what a scenario says that cannot be
    course_checks   ... and of its course, step by step
    document        YAML text becomes plain data whose every part knows its line and column
    plan            a Scenario becomes a course of steps, and every question
    course_of_scenario   the steps that a scenario writes, resolved
    course          the steps of a rehearsal, and the moments at which everything is asked
    topology        a scenario's topology, with every default filled in
    scenario, rig, observation, knowledge, policies, versions, endings, secret, wait, errors
"""

__version__ = "0.1.0"
DISTRIBUTION = "vault-upgrade-rehearsal"
"""By which the command knows this package from another one of the same name."""
