"""Rehearse a Vault upgrade on real servers: what changes for those who log in, and why.

The folders from the top down: each imports only from those below it. Two halves meet only in the record: those that
touch the world (drivers, artifacts, clients, host, rehearsal) never judge; those that judge (analysis, reports) read
the record and never touch the world. `lint-imports` holds them to it.

pytest_plugin/           rehearsals as tests; what pytest itself loads is vault_upgrade_rehearsal_pytest.py
    items                a scenario file is collected as tests
    fixture              a rehearsal in anybody's own test
    running              how a rehearsal is made under pytest, and what of it a test reports
cli/                     the command line
    commands             run, judge, validate, plan: options in, reports and exit codes out
    bisect               the first bad version, or one rehearsal as a test for `git bisect run`
    bring                the options by which users bring binaries, images and a licence of their own
    bundle               a run in one archive, to attach to a report
    drill                a snapshot of one's own Vault, restored and upgraded where it reaches nobody
    compare              what one rehearsal shows and another would not have shown
    corpus               every known breakage, rehearsed: the track record
    predict              what is known, without any server: a prediction, an explanation
    importing            an installation is read, and becomes a scenario
    new                  five questions, or their options, become a scenario of one's own
    maintenance          artifacts, clean, doctor, schema, completion: the commands around rehearsals
    versions             which versions there are, and which of them can be had here
    matrix               every cell of a matrix: rehearsed, listed, shared out
    remote               the cells of a matrix on other machines: tasks of a Dask scheduler
    remote_cell          one cell on another machine: what is sent, done, and sent back
    remote_commands      scheduler, worker: the commands of machines that rehearse for others
    merge                shards that several machines have rehearsed become one matrix
    matrix_running       the cells of a matrix as they are rehearsed, and what each comes to
    matrix_workers       the processes that rehearse cells, some at a time
    cells                a process that rehearses one cell after the other
    progress             events become lines for people who wait
    output               what goes to stdout and stderr, and with which exit code it ends
    reporting            in which forms a judgement is reported, and where
    several              several scenarios side by side, each in a process of its own, reported as one
session/                 rehearsals as values: a scenario and options in, a judgement out
    bisect               the first version at which a scenario gets worse: a rehearsal for each question
    matrix_directory     what has been rehearsed of a matrix, and where it goes on
    comparing            a scenario, a kept run or a bundle becomes one side of a comparison
    corpus               the files of known breakages, and what was last seen of each
    bundle               a run in one archive, and back: record, judgement, versions and logs, without any secret
    drill                a snapshot is restored and taken through an upgrade, apart from everything
    import_sources       an installation read from its sources, and what it becomes
    prediction           what a rehearsal would see, by the knowledge alone
    proving              the remedies of a run's refusals, tried
    noise_floor          the A -> A rehearsal of a scenario, made once for all that agree on it
    one_rehearsal        from a scenario and options to its judgement: what the command line calls
maintenance/             what this machine has for rehearsals, and what was left on it
    doctor               what this machine has and lacks for a rehearsal, and what mends it
    packages             what this machine has of the packages that only some scenarios take
    unheard              which versions of a plan are no releases that are known
    cleanup              finds and ends what a crash left, by the labels of the runs
rehearsal/               the order in which things happen
    rehearsal            from bring-up to the last question, and what is noted when something breaks
    asking               a question is asked, and again where its answer is another one than before
    troubles             what broke a rehearsal, as its record keeps it
    several              the Vaults of several nodes, as the course goes on
    ways                 which of several nodes an app asks: the leader, a standby, or what a load balancer chooses
    nodes                how a Vault of several nodes comes to be, and is taken on node by node
    vault_steps          how a Vault is set up, written to, swapped and unsealed
    provider             who mints the tokens of apps that no cluster knows
    credentials          passwords, secret IDs and client certificates, made as roles are written
    rewriting            configs and roles are written again as they are read
    seals                a Vault that is unsealed by another one, and what is done to that one
    leases               leases are made, revoked, waited for at each start, and weighed
    side_steps           steps that put no other Vault in place: rights, Secrets, snapshots, time
    storages             what a course does to the servers that have Vault's data, or to that of its engines
rehearsal/workloads/     apps that run on while Vault is upgraded
    steady               clients ask for one thing again and again while nodes are replaced
    renewals             running apps renew their tokens while Vault is replaced
rehearsal/probes/        the questions that are asked at every moment: a file a subject
    look                 what a probe may use, and how a reply becomes an observation
    server               is Vault healthy and unsealed?
    engines              what do secrets engines make for an app, and what becomes of it?
    readback             what do an auth mount's config and roles say when they are read back?
    login                may the app log in?
    agent                may the Vault Agent of an app log in, and how is the one that runs beside it?
    storm                may many Pods of an app log in at once?
    token                what is a Vault token good for?
    impostor             is everybody refused who must be?
    lockout              is somebody locked out whose secret was wrong too often?
    abuse                what could somebody do with what a remedy gives away?
drivers/                 ways of making a plan real; first what they share
    real_rig             what every rig with real servers has in common
    several_nodes        what a rig does with a Vault of several nodes, whatever those run in
    seal_vault           a Vault that unseals another one, whatever it runs in
    audit_devices        what the audit devices of a Vault write to, whatever that runs in
    vault_stores         which servers have a Vault's data beside it
    consul_store         the Consul that has a Vault's data, as a process
    etcd_store           the etcd that has a Vault's data: its members, as processes
    balancer             a load balancer before the nodes of a Vault, as a process: HAProxy
    cluster_setup        what a cluster is given for a rehearsal: labels, rights, tokens of its accounts
    bring_up             clusters and their tokens come up side by side; who needs one waits for it
    service_accounts     which namespaces, service accounts, bindings and tokens a scenario needs where
    log_collection       brings audit entries and log lines of the servers into the record
    log_tail             what was appended to a log since the last look
    proxies              proxies between Vault and API servers, each started when a config first names it
    restoration          a snapshot is restored in the background, into a new Vault beside the one that runs
    vault_config         the configuration file of a Vault server
    data_server          what servers with data beside Vault have in common: started, stopped, at rest
    postgres             a PostgreSQL of this machine's package, as a process, thrown away with the run
    vault_agent          what a Vault Agent is told, and what its log says came of it
    new_vault            a Vault that serves before the rehearsal that gets it begins: which plans may have the same one
    kept_vault           the source state of an earlier rehearsal: a copy of Vault's data, and what it refers to
    sharing_rig          a rig that begins from a source state of a rehearsal before it, or keeps its own
    storms               many Pods of an app that log in at once: made, let loose, and counted
drivers/local/           plain processes on this machine, and no Docker
    driver               fulfils rig/driver with processes
    control_plane        an etcd and a kube-apiserver as processes
    rights               what a control plane lets whom do, waited for
    pod_folder           what a kubelet would mount into Vault's Pod
    shared_clusters      control planes that serve one rehearsal after the other, each time emptied or as they were
    ready_vault          a Vault over a source state that serves before the rehearsal that gets it begins
    changing_rig         what a course changes in the clusters of a rig of processes
    sharing_rig          what a rig of processes takes from those before it, and leaves to those after it
    vault_process        a Vault server as a process
    vault_nodes          all servers of a Vault: one, or several nodes
    seal_vault           a Vault as a process that unseals another one
    storage_faults       what a course does to the servers that have a Vault's data
    agents               a Vault Agent as a process: started, read by its log, and ended
    audit_devices        what the audit devices of a Vault as a process write to
drivers/kind/            kind clusters and containers on a Docker engine
    driver               fulfils rig/driver with kind clusters
    cluster              the life of a kind cluster
    agents               a Vault Agent as a Pod with the image of its version
    app_pods             the Pods of apps, and how service accounts come to their tokens
    api_server           an API server started anew, by its manifest on the node; its keys, and who reaches it
    changing_rig         what a course changes in the clusters of a rig
    node_rig             a rig of kind clusters whose Vault may have several nodes
    vault_pod            a Vault as a StatefulSet of one Pod in a kind cluster
    vault_nodes          a Vault of several nodes as a StatefulSet of several Pods over raft
    one_pod              a Pod in which Vault runs: whether it lives, and what it said
    vault_container      a Vault as a container beside the clusters
    seal_container       such a container that unseals the Vault of a rig
    audit_disks          small disks for audit files, on a node or in volumes
    vault_rig            a rig's Vault, from version to version and from one place to another
    vault_data           Vault's data in volumes of the engine, and copies of them from one to another
    limits               what cannot be rehearsed with kind clusters: refused before anything starts
    sharing_rig          what a rig of kind clusters takes from those before it, and leaves to those after it
    cluster_reuse        clusters of a run that was kept serve further rehearsals, one at a time
    shared_clusters      clusters that serve one rehearsal after the other in one process
    ready_pod            a Vault that comes to serve in its Pod beside another rehearsal: over a source state, or new
drivers/paper/           no server at all: every answer is worked out from what is known of Vault
    driver               fulfils rig/driver and rig/rig from knowledge alone
    accounts             who may review tokens on paper
    answers              how a Vault on paper answers, and what trace that leaves
    audit                the audit devices of a Vault on paper
    tokens               what a Vault on paper gives, and what that is good for
    secrets              logins with a password or a secret ID, on paper
    agents               a Vault Agent on paper: it asks what a real one asks
    engines              secrets engines that make secrets, on paper
    database             a PostgreSQL on paper: whom it lets in
    certificates         whether a role that trusts a certificate, or an authority, knows what is shown
    jwts                 logins at JWT mounts, on paper
    kubernetes           logins by the Kubernetes auth method, and its configs, on paper
    nodes                a Vault of several nodes, on paper
    seals                a Vault that is unsealed by another one, on paper
    leases               the leases of a Vault on paper
    storms               many Pods that log in at once, on paper: each is answered as one
    storage              the servers of a storage on paper: without enough of them nobody logs in
    state                what a Vault on paper holds
    checks               what a Vault on paper checks by itself
    evidence             what servers would write about what is asked
artifacts/               a version becomes a verified binary or a container image
    store                a version becomes a verified binary: cached, downloaded or built
    binaries             what a binary is, and what it says of its own version
    digests              the SHA-256 of files, each read once
    brought              binaries, images and a licence of the user's own
    downloads            release servers and mirrors, believed only after the checksum
    availability         which versions can be had on this machine, and from where
    signatures           who signed a file: OpenPGP, checked against the vendors' keys
    go_recipes           which Go modules a server is built from, version by version
    go_builds            builds them, with the Go that is here or one that it gets
    images               a version becomes a container image
    node_image           an image for kind nodes, made without any registry
    debian_layer         the Debian that node images share
    templates            the files under clusters/, wherever this is installed
clients/                 one door for each foreign system
    vault                everything said to Vault (hvac)
    transit              what is said to a Vault that unseals another one
    vault_audit          what is said to Vault about its audit devices
    vault_engines        what is said to secrets engines that make secrets, and to what they have
    kube                 everything said to a Kubernetes API server (kubernetes)
    mutual_tls           a request to a server that knows us by a certificate
    consul               whether a Consul serves
    etcd                 whether an etcd serves
    haproxy              everything said to HAProxy: how it balances nodes by their health
    wrk                  everything asked of the load generator: what it sends, and what came back
    packaged             where the programs of packages are that stand by themselves: wrk, HAProxy
    postgres             whether a PostgreSQL lets somebody in, and where its programs are
    kube_errors          what it declines, or gives no answer to, in our words (kubernetes)
    kube_emptying        how a cluster is emptied of what earlier rehearsals have made in it
    kube_states          what an API server says of nodes and Pods, put so that a driver can ask for it
    vault_connection     one request to Vault over a connection of its own, at little cost
    vault_leases         many requests to Vault over a few connections: leases by the thousand
    vault_reader         a Vault of the user's, which is only read
    kube_reader          a cluster of the user's, which is only read
    container_engine     everything said to the container engine (docker)
    engine_things        what a run has made on it, and the labels by which that is found again
    engine_requirements  whether a container engine will do for kind nodes
host/                    the machine itself: processes, ports, keys
    receiver             takes what is sent to a socket, or is away, or is there and takes nothing
    proxy                a reverse proxy before an API server: a program of its own
    process              our side of child processes: started, watched, stopped
    standing_still       a server that stands still while its files are read
    supervisor           their other side: a program that outlives a killed run and ends its processes
    process_clock        the clock of one process, set apart from that of this machine
    process_launch       what happens between a fork and a running server
    run_traces           what a run leaves on a machine, and how each trace proves whose it is
    run_registry         what the registry of living runs says of each
    run_removal          ends and removes what a dead supervisor's run has left
    kept_runs            ends a run that was kept
    memory_directory     a work directory in memory, gone with the last process in it
    reaper               removes a run's containers, for the supervisor
    locks                one at a time, across processes: files that are locked
    closed_network       a network without a way out
    own_run              what a run has for itself alone: ports, a directory, and who ends its servers
    ports                a free loopback port that stays ours
    capacity             how many clusters this machine can carry
    pki                  certificate authorities, certificates and service account keys for test systems
reports/                 a judgement or a plan in the shapes that people and programs read
    text                 for a terminal
    json                 for programs
    junit                for CI servers
    matrix_text          a matrix for a terminal, and as Markdown
    matrix_html          a matrix as a page that opens from disk
    run_html             a judgement as a page: the first screen, and all that shows it
    compare_html         two rehearsals beside each other, as a page
    sequence             a login as a sequence diagram: where everything stands
    timeline             a run from its first second to its last, with its outages
    page                 what pages have in common: style, script, escaping, and what may run
    markdown             for the summary of a CI job
    github               annotations at the scenario's lines
    plan                 a plan as text
    prediction           a prediction as text
    explanation          what is known of a cause, a version, a field or a row, as text
    cause_page           what is known of a cause as a page of the docs
    expect               what was seen as the `expect:` of a scenario
    table                several rehearsals in a table
    bisection            what a bisection has found
    drill                what came of a drill
    track_record         the corpus of known breakages as a table
    tried                remedies: what came of those that were tried, and what they write in full
    nodes                what is said of a Vault that was taken on node by node
    gaps                 what clients met while nodes were replaced, drawn: answers, and times without any
    leases               what is said of the leases of a Vault
    audit                what is said of audit devices: in what their entries differ from before
    storms               what is said of many Pods that logged in at once
    storages             what is said of the servers that have Vault's data, and of that of its engines
    wording              what all of them say in the same words
analysis/                what a record means, with no server in sight
    track_record         what a corpus of known breakages comes to
    trials               which remedies are worth a try, and what such a run does and asks
    proofs               what came of the remedies that were tried
    verdict              pass, fail or inconclusive, against what was expected
    expectations         what came, held against what the scenario expects
    unseen               what a run says nothing about
    same_token           what was asked with one token and answered so for one cause is one finding
    bisection            which of many values is the first bad one, by few questions: the search alone
    drills               what a drill with a snapshot means
    doubts               what nobody knows after a run, and what keeps it from a pass
    matrix_merge         parts of one matrix become one
    matrix_results       what a matrix comes to: a verdict, a cause and a hop in each cell
    completeness         does a record hold all that its plan requires?
    soundness            does a record say what no run can say?
    diagnosis            what changed, or was wrong all along, gets its cause
    as_recorded          the events that stand in a judgement as the record has them
    not_served           what it is called that a Vault would not serve after a step
    startup_failures     what it means that a Vault would not serve after its swap
    rewritten            configs and roles written again as they are read: what is refused, and what is another value
    renewals             running apps that could not renew their token any more: refused for good, or not known
    expiry               stored reviewers that work until the end of the run, and not for ever
    audit_devices        what audit devices write before and after a hop, and which cannot write
    storms               what became of many Pods that logged in at once, look by look
    ways                 logins that were answered otherwise than by the node that leads
    lost_nodes           nodes that do not come back to the others, and by which words it is known why
    rolling              what it costs to take the nodes of a Vault one after the other, and what goes wrong
    leases               a list of leases that was too large for a start, and what leases weigh
    storages             the servers that have Vault's data: what became of them, and of Vault without them
    lost_connections     requests that failed once, because a connection of Vault to its PostgreSQL was gone
    databases            the database of secrets engines: what Vault could not do without it, and what it could
    irrevocable          leases that Vault has given up to revoke: when, why, and whose fault it is
    rollback             what it means to go back: what opens, what is lost, what behaves otherwise
    comparison           how before differs from after
    noise                what an A -> A rehearsal, the same version restarted, says of the changes of others
    contradictions       evidence that does not go with the answer it is joined to
    correlation          joins audit entries and log lines to the question they belong to
    record_view          topology, configs and tokens as a record has them, for rules to ask
    moves                where a Vault is at each moment of a course that moves it
    stopping             which answers count: none of a Vault that is stopped, none that is now so and now otherwise
    login_story          a login as it happened: who presented whose token to whom, and what came back
    token_reviews        who reviewed which login, and how each config came to be
    news                 where real servers answered otherwise than was foretold
    comparing            two rehearsals beside each other: what one shows and the other would not, and why
    explaining           what is known of a cause, a version, a field or a row
    foretold             what is foretold of a scenario, as a value
    crossings            which known changes lie on a path, and whom they touch
    next_causes          what a refused login would meet next, were its cause mended
    ruled_out            the usual suspects of a refused login: ruled out, or still open
    token_ends           tokens that came to the end of their life meanwhile, which no upgrade has done
    impact               when a refused login begins to hurt
analysis/rules/          the known causes of a refusal, asked in order
    rule                 what a rule is
    checks               what Vault checks by itself: role, audience, CA
    issuers              the issuer of tokens: what Vault demands, and what the API server accepts
    signatures           the signature of a service account token: its key, and the algorithm of that
    reviewer             whose token Vault presents to the API server
    audiences            whom a token is made out for: no bearer, or not what a review asks for
    transport            no way to the API server, or no trust on the way
    remedies             what mends each cause
    occasions            when on the path of an upgrade something can be done
    rewrites             a mount's config written again, with all that it has
    as_code              a remedy as vault write lines and as Terraform
    jwts                 what Vault itself checks of a token at a JWT mount: key, audience, claims
    claims               what a token claims beside issuer, subject and audience: bound, or taken for the identity
    providers            what Vault does not get from whoever signs the tokens of a JWT mount: keys, or their document
    certificates         logins by a client certificate: expired, not matched, or by no more than a number
    secrets              logins with a password or a secret ID: lockout, and secrets that are not accepted
    agents               the Vault Agent of an app, where it is refused and the app itself is not
    storms               logins that are refused because many came at once
    engines              secrets that are made as they are asked for: leases that ended
    clocks               the clock of whoever leads, by which what an app holds ends early
    tokens               what a token is good for: no renewal of batch tokens, a number of requests
    policy               what a token may do: a policy that denies, or does not grant
    entities             who asks with a token: its login, and what the alias of that entity has
    unfilled             templates in policies that nothing fills: why, and which one would be
    seals                the Vault that unseals another one is sealed or away, or does not know its token
    server_config        what a version demands of Vault's configuration, and of what is mounted, before it serves
    steps                what became otherwise because the course did something about it: a write, a right, a way back
importing/               what was read of an installation becomes a scenario
    installation         an installation as far as it was read, and what could not be
    asking               how a reading goes on: questions, answers, and what is asked next
    vault_questions      what a live Vault is asked, and the smallest policy that answers it
    kube_questions       what a cluster is asked, and the rights that it takes
    terraform            what Terraform says in a plan or a state
    helm                 what the values of Vault's chart say
    merging              what several sources say becomes one, with its contradictions
    provenance           what nobody can see of a config becomes variants, with the way to find out
    clusters             which cluster a mount asks, and what each is called
    role_fields          a role as Vault shows it becomes one of a scenario
    policy_texts         policies and key-value stores, and what they let apps read
    naming               names that a scenario can have, or pseudonyms
    composing            what is known becomes a scenario, with a comment for each part
    drifting             what a scenario says and what is read now, held against each other
    scenario_text        a scenario with comments becomes the text of a file
rig/                     what a running system looks like, whoever runs it
    rig                  Vault, clusters and tokens of a running system, as protocols
    agents               what a rig that starts Vault Agents beside apps can do
    storms               what a rig can do that has many Pods of an app log in at once
    several              what a rig can do whose Vault has several nodes: who leads, and a load balancer before them
    seals                what one looks like in which one Vault unseals another one
    leases               leases that are made in a Vault, and what it weighs, as protocols
    clock                a rig whose time passes without anybody waiting for it
    audit                what a rig can do that has Vault's audit devices in its hands
    driver               what every way of making a plan real must be able to do
    database             a PostgreSQL of which Vault makes credentials, as a protocol
    storage              what a rig can do that has the servers with Vault's data in its hands
    source               the source state of a rehearsal, of which further ones get a copy
record/                  what happened: the public record format
    events               every kind of line in a record
    event                what all those lines have in common that tell what happened
    foretold             what the knowledge says of every question, before a server is asked
    node_events          what happens to a Vault of several nodes
    lease_events         what happens to the leases that a Vault has, and what they weigh
    audit_events         what is seen of Vault's audit devices
    storage_events       what happens to the servers that have Vault's data
    database_events      what happens to the PostgreSQL of the database engines
    observation          what one question saw: granted, refused or unknown
    noise_floor          what differs where no version is another one
    journal              the append-only file of them, and its reader
    numbering            how a record proves that it is whole
scenario/                what is asked for
    schema               what a scenario can say
    schema_matrix        what a scenario can say of its answer: findings that must come, and variants
    schema_agents        what a scenario can say of the Vault Agents of apps beside their versions
    schema_clock         what a scenario can say of the clocks of Vault's nodes
    schema_audit         what a scenario can say of Vault's audit devices
    schema_seals         what a scenario can say of the Vault that unseals another one
    schema_leases        what a scenario can say of leases
    schema_clusters      what a scenario can say of a Kubernetes cluster
    schema_storage       what a scenario can say of where Vault has its data
    schema_ways          what a scenario can say of the way from an app to a Vault of several nodes
    schema_storms        what a scenario can say of many Pods that log in at once
    schema_roles         what a scenario can say of roles of every kind, and of the config of a JWT mount
    schema_engines       what a scenario can say of secrets engines
    outcomes             the words for what is asked, what may happen, and why
    mount_kinds          the kinds of auth mounts: what each has, and who must be refused there
    engine_kinds         the kinds of secrets engines that make secrets: what each has, and what is asked of it
    values               what its values may be: versions, names, paths, spans of time
    yaml_document        YAML whose every part knows its line and column
    matrix_choice        which cells of a matrix are meant, by name or by share
    matrix               a scenario and its axes become cells, each a whole scenario by itself
    fields               what the models of a scenario declare, found by the path of a value
    loading              a file becomes a scenario, or a list of problems with their lines
    checks               what a scenario says that cannot be
    kind_checks          what a mount, its roles and its apps cannot have by the kind of the mount, or lack
    mount_checks         paths at which Vault mounts nothing: its own, and those above or below another mount
    engine_checks        what is said of secrets engines, and read of them, that cannot be
    field_checks         what the Vault that writes a config or a role would not know, or would refuse
    drafting             five answers become a scenario
    vault_words          which key was meant by what Vault, Terraform or Kubernetes call it
    endpoints            what may stand at kubernetes_host in the place of the API server's own address
    host_checks          a name that Pods alone know, where it is another API server than that of the mount
    provider_checks      what a JWT mount's config asks whoever signs the tokens for, and would not get
    role_spec            a role of an auth mount as it is written: our names, and Vault's
    probe_checks         which probes a scenario lists and has nothing to ask them of
    product_checks       what a scenario says of OpenBao that cannot be
    places               where a Vault runs, and where a course moves it
    auth_config          the fields of auth/<mount>/config, and the kinds of reviewers that they store
    topology             clusters, Vault, mounts and apps with every default filled in
    app_spec             an app as it is written: who it is, how it logs in, and what logs in for it
    course               the steps of a rehearsal, and the moments at which everything is asked
    labels               the moments of a course get their numbers and labels
    course_checks        what a course says that cannot be, step by step
    cluster_checks       what a scenario says of the life of its clusters that cannot be
    references           a key that names another part of the scenario: which is meant, or what is wrong
    agent_checks         what a course does to the Vault Agents of apps that cannot be
    clock_checks         what a course does to the clocks of nodes that cannot be
    audit_checks         what a scenario says of Vault's audit devices that cannot be
    audit_spec           an audit device with every default filled in
    seal_checks          what a scenario says of the Vault that unseals another one that cannot be
    storage_checks       what a scenario does to the servers of a storage that cannot be
    vault_checks         which Vault and which node the parts of a scenario name, and whether they are there
    course_resolution    the steps that a scenario writes, with nothing left to look up
    driver_traits        what each way of making a plan real needs and proves
    moments              the moments at which questions are asked, by name
    assumed              what a plan takes for granted where the scenario is silent
    plan                 a scenario becomes every stage and every question
    shared_source        what rehearsals have in common up to their first look, and why one may not share it
    database_state       when the PostgreSQL of the database engines is away, step by step
    seal_state           whether the Vault that unseals another one is there, step by step
    storage_state        which servers of a storage are away, step by step, and whether the others are enough
knowledge/               what Vault and Kubernetes do, by version
    kubernetes_auth      which Vault does what in the Kubernetes auth method, with sources
    behaviours           what each range of versions does, and what breaks for whom: a row each, with its source
    audit_fields         which fields of audit entries came with which version
    checks_by_hand       how a cause is seen by hand, on a living system
    login_order          in which order each Vault makes the checks of a login
    no_answer            how Go says that a server gives no answer
    jwt_auth             which Vault does what in the JWT auth method, with sources
    cert_logins          which Vault does what where one logs in by a client certificate
    token_store          what Vault does with the tokens that it gave
    given_up_leases      when Vault gives up to revoke a lease, and what becomes of that
    lease_lists          what Vault reads when it lists its leases in etcd, by version, and how large that is
    pki_roles            which kinds of keys, and of how many bits, a Vault takes in a pki role
    secret_logins        which Vault does what where one logs in with a secret: approle and userpass
    server_settings      what versions demand of Vault's configuration, and which kinds of mounts they have no more
    releases             which releases there are, and what a range of versions stands for
    versions             what a version is, and which releases there never were
    refusals             what is a refusal of Vault, and what only means "not now"
    plugin_versions      which release of the Kubernetes auth plugin each Vault has built in
    shutdown_signs       how a Vault that is gone says that somebody stopped it
    vault_policies       policies read as Vault reads them, and what they grant
    policy_templates     templates in policies: which mounts they name, and what fills them for whom
secret                   strings that never print themselves, and their removal from any text
settings                 where things are kept, and what the user's environment says; nobody else reads it
wait                     the only clock: deadlines, pauses, dates
errors                   what can go wrong, sorted by whose move it is
"""

__version__ = "0.1.0"
DISTRIBUTION = "vault-upgrade-rehearsal"
"""By which the command knows this package from another one of the same name."""
