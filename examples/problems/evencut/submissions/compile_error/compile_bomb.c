/* Hostile: a line of source that becomes a gigabyte. */
char bomb[1UL << 30] = {1};

int main(void)
{
    return bomb[0];
}
