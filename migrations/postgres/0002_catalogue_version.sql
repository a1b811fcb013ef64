-- Versions of the catalogue: a customer stays on the one they bought, so each that was ever used is kept as it was.
-- `text` is the whole file with what it includes.

create table catalogue_version (
    version      text    not null,
    text         text    not null,
    effective_at bigint  not null,
    created_at   bigint  not null,
    constraint catalogue_version_pk primary key (version)
);
create index catalogue_version_by_effect on catalogue_version (effective_at);

create trigger catalogue_version_append_only before update or delete on catalogue_version
for each row execute function refuse_change();
create trigger catalogue_version_not_emptied before truncate on catalogue_version
for each statement execute function refuse_change();
