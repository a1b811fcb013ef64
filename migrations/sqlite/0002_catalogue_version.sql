-- Versions of the catalogue: a customer stays on the one they bought, so each that was ever used is kept as it was.
-- `text` is the whole file with what it includes.

create table catalogue_version (
    version      text    not null,
    text         text    not null,
    effective_at integer not null,
    created_at   integer not null,
    constraint catalogue_version_pk primary key (version)
) strict;
create index catalogue_version_by_effect on catalogue_version (effective_at);

create trigger catalogue_version_append_only_update before update on catalogue_version
begin select raise(abort, 'catalogue_version is append-only'); end;
create trigger catalogue_version_append_only_delete before delete on catalogue_version
begin select raise(abort, 'catalogue_version is append-only'); end;
